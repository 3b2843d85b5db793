package bench;

import io.seata.rm.tcc.api.BusinessActionContext;
import io.seata.rm.tcc.api.BusinessActionContextParameter;
import io.seata.rm.tcc.api.LocalTCC;
import io.seata.rm.tcc.api.TwoPhaseBusinessAction;

/** The branch in the north: Seata wants a class with its name for each. */
@LocalTCC
public class NorthAction {
  @TwoPhaseBusinessAction(name = "north", commitMethod = "confirm", rollbackMethod = "cancel", useTCCFence = true)
  public boolean hold(
      BusinessActionContext context,
      @BusinessActionContextParameter(paramName = "account") String account,
      @BusinessActionContextParameter(paramName = "cents") int cents) {
    return TccMode.hold(account, cents);
  }

  public boolean confirm(BusinessActionContext context) {
    return TccMode.confirm(context);
  }

  public boolean cancel(BusinessActionContext context) {
    return TccMode.cancel(context);
  }
}
